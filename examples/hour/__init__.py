"""The protocol of the tutorial "Write your own protocol in an hour", after each of its steps."""
