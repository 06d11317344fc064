"""The checks of the doctor, a module for each kind of row. `store.doctor.catalogue` lists them."""
