"""The parts of the command `xinet`: its options, files of the user's, and the start of what computes."""
