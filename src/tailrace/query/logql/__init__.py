"""LogQL, Loki's query language, in the subset of Grafana's log panels: parsed, and compiled to the tree of APL."""
