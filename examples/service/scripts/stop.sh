#!/bin/sh
# Runs from the revision that is installed, before the new one comes.
echo "stopping for $DEPLOYMENT_ID"
