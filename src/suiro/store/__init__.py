"""The metadata database: connections, jobs, runs and secrets; the only durable truth about them."""
