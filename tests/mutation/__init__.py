"""Small mistakes made by rule in every line of the trading logic; scenarios must notice them."""
