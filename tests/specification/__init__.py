"""Every sentence of the specification has a rule, or a reason why it has none."""
