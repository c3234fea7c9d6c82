"""The first clock: agents on asyncio, the fleet over HTTP."""
