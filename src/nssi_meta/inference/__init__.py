"""From a likelihood to a posterior: exact quadrature where the dimension allows, NUTS elsewhere."""
