"""The scikit-learn provider."""
