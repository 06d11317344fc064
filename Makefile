help: ; @echo soon
