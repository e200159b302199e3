"""Where the view, the dead letters and the metrics are kept: one module per AWS service, and nobody else knows AWS."""
