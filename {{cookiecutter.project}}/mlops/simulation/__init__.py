"""A simulated year: deliveries that change, and the loop that watches them, retrains, promotes and rolls back."""
