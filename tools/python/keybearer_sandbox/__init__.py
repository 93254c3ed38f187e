"""What stands between the component's exports and the program that it runs."""
