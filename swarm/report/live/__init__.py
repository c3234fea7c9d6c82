"""What is shown while something goes on."""
