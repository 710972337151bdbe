"""The two worlds that a kernel can trade in: `venues.live` and `venues.sim`.

They read the venues' documents separately and never import each other, so that a mistake in one
reading shows up as a difference.
"""
