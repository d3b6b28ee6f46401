"""Tables as Arrow streams, which preserve the mark of JSON columns."""

import pyarrow as pa

from tailrace.query.arrow_json import JSON_FIELD

_IPC = pa.ipc.IpcWriteOptions(use_threads=False)


def serialized(table: pa.Table) -> pa.Buffer:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_IPC) as writer:
        writer.write_table(table)
    return sink.getvalue()


def deserialized(stream: pa.Buffer) -> pa.Table:
    """Return the table of an Arrow stream, over the same memory."""
    table = pa.ipc.open_stream(stream).read_all()
    schema = as_marked(table.schema)
    if schema is table.schema:
        return table
    columns = [
        pa.chunked_array([chunk.storage for chunk in column.chunks], field.type)
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def as_marked(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns of JSON are texts with a mark, as an engine has them: reading made them a type."""
    if not any(isinstance(field.type, pa.BaseExtensionType) for field in schema):
        return schema
    return pa.schema(
        [
            pa.field(field.name, field.type.storage_type, metadata=JSON_FIELD)
            if isinstance(field.type, pa.BaseExtensionType)
            else field
            for field in schema
        ]
    )
