"""Complete apps to run and to copy from; each is what a user would write."""
