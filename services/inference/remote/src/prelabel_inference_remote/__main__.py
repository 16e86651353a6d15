"""`python -m prelabel_inference_remote`: this provider as a service of its own."""

from prelabel_provider.run import main

if __name__ == "__main__":
    main("remote")
