"""What is read and written, and the configuration."""
