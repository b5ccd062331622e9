CREATE DATABASE mlflow_auth;  -- the accounts; runs and versions are in mlflow
