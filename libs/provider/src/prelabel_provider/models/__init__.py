"""The model store: artifacts under the hash of their manifests, looked at before they are believed; workspaces."""
