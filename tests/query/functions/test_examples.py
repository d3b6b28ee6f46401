"""Every function has an example, which holds, and is one that the language's users know."""

import pytest
from query.functions.conftest import Ask

from tailrace.query.functions import FUNCTIONS, GROUPS

# The functions of Axiom's documentation, by group.
DOCUMENTED = {
    "array": """
        array_concat array_extract array_iff array_index_of array_length array_reverse array_rotate_left
        array_rotate_right array_select_dict array_shift_left array_shift_right array_slice array_sort_asc
        array_sort_desc array_split array_sum bag_has_key bag_keys bag_merge bag_pack pack bag_zip isarray len
        pack_array pack_dictionary strcat_array
    """,
    "conditional": "case iff",
    "conversion": """
        dynamic_to_json ensure_field isbool toarray tobool todatetime todouble toreal todynamic tohex toint
        tolong tostring totimespan
    """,
    "datetime": """
        ago datetime_add datetime_diff datetime_part dayofmonth dayofweek dayofyear endofday endofweek
        endofmonth endofyear getmonth getyear hourofday monthofyear now startofday startofweek startofmonth
        startofyear unixtime_seconds_todatetime unixtime_milliseconds_todatetime
        unixtime_microseconds_todatetime unixtime_nanoseconds_todatetime week_of_year
    """,
    "genai": """
        genai_concat_contents genai_conversation_turns genai_cost genai_estimate_tokens
        genai_extract_assistant_response genai_extract_function_results genai_extract_system_prompt
        genai_extract_tool_calls genai_extract_user_prompt genai_get_content_by_index
        genai_get_content_by_role genai_get_pricing genai_get_role genai_has_tool_calls genai_input_cost
        genai_is_truncated genai_message_roles genai_output_cost
    """,
    "hash": "hash hash_md5 hash_sha1 hash_sha256 hash_sha512",
    "ip": """
        format_ipv4 format_ipv4_mask geo_info_from_ip_address has_ipv4 has_ipv4_prefix has_any_ipv4
        has_any_ipv4_prefix ipv4_compare ipv4_is_in_range ipv4_is_in_any_range ipv4_is_match ipv4_is_private
        ipv4_netmask_suffix ipv6_compare ipv6_is_in_range ipv6_is_in_any_range ipv6_is_match parse_ipv4
        parse_ipv4_mask
    """,
    "math": """
        abs acos acosh asin asinh atan atan2 atanh cos cosh cot degrees exp exp2 exp10 gamma isfinite isinf
        isint isnan log log2 log10 loggamma max_of min_of not pi pow radians rand range round set_difference
        set_has_element set_intersect set_union sign sin sinh sqrt tan tanh
    """,
    "metadata": "column_ifexists cursor_current field_metadata ingestion_time",
    "pair": "pair parse_pair find_pair",
    "rounding": "bin bin_auto ceiling floor",
    "sql": "parse_sql format_sql",
    "string": """
        base64_decode_toarray base64_decode_tostring base64_encode_fromarray base64_encode_tostring
        url_decode url_encode unicode_codepoints_from_string unicode_codepoints_to_string quote coalesce
        isempty isnotempty isnull isnotnull isascii countof countof_regex extract extract_all indexof
        indexof_regex format_bytes format_url gettype parse_bytes parse_csv parse_json parse_path parse_url
        parse_urlquery strip_ansi_escapes replace replace_regex replace_string translate trim trim_start
        trim_end trim_regex trim_start_regex trim_end_regex trim_space regex_quote reverse split strcat
        strcat_delim strcmp strlen string_size strrep substring tolower toupper totitle
    """,
    "type": "iscc isimei ismap isreal isstring isutf8",
    "series": """
        series_abs series_acos series_asin series_atan series_ceiling series_cos series_exp series_floor
        series_log series_sign series_sin series_tan series_add series_divide series_multiply
        series_subtract series_pow series_equals series_not_equals series_greater series_greater_equals
        series_less series_less_equals series_max series_min series_dot_product series_cosine_similarity
        series_pearson_correlation series_sum series_magnitude series_stats series_stats_dynamic
        series_fill_backward series_fill_const series_fill_forward series_fill_linear series_fft series_ifft
        series_fir series_iir
    """,
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_example_holds(ask: Ask, name: str) -> None:
    function = FUNCTIONS[name]
    assert f"{name}(" in function.example
    assert ask(function.example) == function.example_result


@pytest.mark.parametrize("group", sorted(DOCUMENTED))
def test_no_function_is_missing(group: str) -> None:
    assert set(DOCUMENTED[group].split()) <= {each.name for each in GROUPS[group]}


def test_no_name_has_two_meanings() -> None:
    names = [each.name for group in GROUPS.values() for each in group]
    assert len(names) == len(set(names))
