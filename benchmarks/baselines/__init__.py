"""Other ways to build the service, as their own documents say it is done: what the service is measured beside."""
