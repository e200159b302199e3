"""Where the view and the dead letters are kept: one module per AWS service, the only ones that know boto3."""
