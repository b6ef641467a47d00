# The manifest against Kubernetes' own schemas, where no unknown field passes; and one with a mistake, which must fail.
python -m venv checker && checker/bin/pip install -qq kubernetes-validate==1.37.0
checker/bin/kubernetes-validate --strict "$ROOT/serve/deploy/kubernetes.yaml"
sed 's/containerPort: 8000/containerPort: "8000"/' "$ROOT/serve/deploy/kubernetes.yaml" > mistaken.yaml; checker/bin/kubernetes-validate --strict mistaken.yaml | grep ERROR
