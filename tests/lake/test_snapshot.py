"""Where the files of tables are, in the text of queries."""

import pytest

from tailrace.lake import TableRoot

HERE = TableRoot("/data/it's here/", "s3://bucket/tables")
THERE = TableRoot("/o''ther/", "s3://bucket/tables")
QUERY = "SELECT '/data/it''s here, not a file', f(['/data/it''s here/web/a.parquet', '/data/it''s here/it''s/b'])"
MOVED = "SELECT '/data/it''s here, not a file', f(['/o''''ther/web/a.parquet', '/o''''ther/it''s/b'])"


def test_the_files_that_a_query_reads_are_known_by_their_names() -> None:
    assert HERE.names_in(QUERY) == {"web/a.parquet", "it's/b"}
    assert THERE.names_in(QUERY) == set()


def test_a_query_is_moved_to_where_another_has_the_files() -> None:
    assert HERE.moved(QUERY, THERE) == MOVED
    assert THERE.moved(MOVED, HERE) == QUERY
    assert HERE.moved(QUERY, HERE) == QUERY
    assert HERE.moved(QUERY, TableRoot(r"C:\1\g<0>/")).count(r"C:\1\g<0>/") == 2


@pytest.mark.parametrize(("root", "place"), [(HERE, "s3://bucket/tables"), (TableRoot("/d/"), "/d/")])
def test_a_place_is_the_same_for_all_who_read_it(root: TableRoot, place: str) -> None:
    assert root.place == place
