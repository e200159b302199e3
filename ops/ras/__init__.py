"""What operators do with a deployment, on this machine or in AWS alike: dead letters, and replays of topics."""
