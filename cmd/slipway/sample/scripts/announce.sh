#!/bin/sh
echo "Installing deployment $DEPLOYMENT_ID to group $DEPLOYMENT_GROUP_NAME"
