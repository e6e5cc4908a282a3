"""The claims about pruning while learning, each with a command that runs what it rests on (README.md here)."""
