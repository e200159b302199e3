"""The functions as they are deployed: built layers and code, in the runtime's own client, on the runtime's own Python."""
