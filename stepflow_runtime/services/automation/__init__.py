"""What starts runs by itself or tells of them: jobs, schedules and webhooks (PROTOCOL §4)."""
