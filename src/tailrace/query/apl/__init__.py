"""The front end of APL: text to a frozen tree with source positions, or an error that says where."""
