"""The demo: a weather app in a small cluster, told as Hubble records by a real Hubble server.

    with DemoServer() as demo:                # goes on; demo.address is for any Hubble client
        ...
    with DemoServer(live=False) as demo:      # the whole story at once, ending now
        demo.truth.counts("weather")          # what really happened, to compare with

``cluster`` is who there is; ``traffic`` what Hubble writes of a connection, ``exchange`` when;
``weather`` and ``noise`` are what they do, ``story`` plays it and ``truth`` keeps count; ``ring``,
``service`` and ``server`` serve it as relay over two nodes.
"""
