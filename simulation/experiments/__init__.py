"""The jobs a person asks for: compression, federation, comparison."""
