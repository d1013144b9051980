"""The REST API: requests in, JSON out, over the use-cases of `app`."""
