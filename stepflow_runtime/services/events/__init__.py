"""What happened in a run and beneath it, as peers see it (PROTOCOL §4, `runs/events`)."""
