"""Local stand-ins of services: made-up data behind the services' own interfaces, for trying Suiro and for its tests.

Each service is a folder here whose face has `service`, a subclass of `suiro.sandbox.service.Service`. Nothing here
shares code with connectors: a stand-in that shares code with what it tests proves nothing.
"""
