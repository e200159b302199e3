"""The service as AWS resources: typed stage settings, constructs that build, stacks that wire."""
