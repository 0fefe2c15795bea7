"""Reading what items say: tokens, item vectors, and the click head."""
