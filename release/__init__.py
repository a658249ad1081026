"""What is made of the code: the SBOM beside a wheel, and the reference in the documents."""
