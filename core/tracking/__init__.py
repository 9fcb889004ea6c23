"""MLflow runs, model cards, registry, promotion and serving guards."""
