"""The whole service on one machine: an AWS emulator, a broker, the deployed stacks and the poller between them."""
