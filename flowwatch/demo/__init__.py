"""The demo: a weather app in a small cluster, told as Hubble records by a real Hubble server.

    with DemoServer() as demo:                 # lives on; demo.address for any Hubble client
        ...
    with DemoServer(fast=True) as demo:        # the whole story at once, ending now
        ...demo.truth...                       # what really happened, to compare with

``cluster`` is who there is, ``traffic`` what Hubble writes of a connection, ``weather`` and
``noise`` what they do, ``story`` when; ``ring`` and ``server`` serve it as relay over two nodes.
"""
