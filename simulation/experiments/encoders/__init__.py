"""General encoders: found or made, looked at, compared, shared between sizes and tasks."""
