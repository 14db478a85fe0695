"""The aiohttp application: the second door to decisions, and the pages of operators. The one door to aiohttp."""
