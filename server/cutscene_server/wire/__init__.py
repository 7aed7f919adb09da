"""Between the contract's messages and this server's values: requests checked field by field, replies built."""
