"""Commands of bd."""
