"""Every operation of the API as a value: a request, and how to read its answer. `Client.do` performs them."""
