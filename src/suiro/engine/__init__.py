"""The one way of the data: plan, carry, stage, publish, prove."""
