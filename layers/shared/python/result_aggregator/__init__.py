"""The Result Aggregator Service: a materialized view of essay-processing results."""
