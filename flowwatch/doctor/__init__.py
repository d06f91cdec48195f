"""From the kubeconfig to the records, one step a line: what stands between here and the first flow."""
