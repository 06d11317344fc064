"""What the shop sells."""

from django.db import models


class Order(models.Model):
    """An order of a customer."""

    note = models.TextField()
